// Light, dark, or whatever the system has. The choice is kept in this browser.

const KEY = 'kvgate-theme';
const ORDER = ['system', 'light', 'dark'];
const LOOKS = { system: '◐', light: '☀', dark: '☾' };

export function themeToggle(button) {
  let chosen = ORDER.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : 'system';
  const apply = () => {
    if (chosen === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.textContent = LOOKS[chosen];
    button.setAttribute('aria-label', `Colours: ${chosen}`);
    button.title = `Colours: ${chosen}`;
  };
  button.addEventListener('click', () => {
    chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
    localStorage.setItem(KEY, chosen);
    apply();
  });
  apply();
}
