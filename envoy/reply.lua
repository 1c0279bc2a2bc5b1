-- What no filter of Envoy's own can do to a reply. It acts only on replies that the processor marked (metadata `kvgate`):
--   hide_usage  of a stream: drop the usage event that the gateway asked the engine for and the client did not
--   about       of a JSON reply: add the object `kvgate`, which the processor began, with times and cost put in

-- JSON that is larger stays as it is.
local LARGEST_REPLY = 1048576
-- An event that is larger holds no usage, and is not waited for.
local LARGEST_USAGE = 65536

local function is_usage(event)
  return event:find('"choices"%s*:%s*%[%s*%]') ~= nil and event:find('"usage"%s*:%s*{') ~= nil
end

-- Whether a text may be the beginning of a usage event.
local function may_be_usage(text)
  local begun = text:match("^[\r\n]*(.*)$")
  if #begun < 5 then return begun ~= "" and begun == ("data:"):sub(1, #begun) end
  if begun:find("^data:%s*$") then return true end
  return begun:find("^data:%s*{") ~= nil and begun:find('"choices"%s*:%s*%[%s*[^%s%]]') == nil
end

-- Events end with an empty line. The second result is what has not ended yet.
local function without_usage(text)
  local kept, from = {}, 1
  while true do
    local _, stop = text:find("\r?\n\r?\n", from)
    if not stop then break end
    local event = text:sub(from, stop)
    kept[#kept + 1] = is_usage(event) and event:match("^[\r\n]*") or event
    from = stop + 1
  end
  return table.concat(kept), text:sub(from)
end

-- Nothing can be added after the last chunk, and none says that it is the last, so as little as possible is held. Where
-- it is an empty one, what has not ended by then never will.
local function hide_usage(handle)
  local held = ""
  for chunk in handle:bodyChunks() do
    local size = chunk:length()
    local text, rest = without_usage(held .. chunk:getBytes(0, size))
    if #rest > LARGEST_USAGE or not may_be_usage(rest) or (size == 0 and not is_usage(rest)) then
      text, rest = text .. rest, ""
    end
    held = rest
    chunk:setBytes(text)
  end
end

-- US dollars; prices are for 1,000 tokens.
local function cost(prices, usage)
  if not usage or not prices then return nil end
  local prompt, cached = usage.prompt_tokens or 0, usage.cached_tokens or 0
  if cached > prompt then cached = prompt end
  return ((prompt - cached) * prices.input + cached * prices.cached + (usage.completion_tokens or 0) * prices.output) / 1000
end

local function add_about(handle, ours)
  local length = tonumber(handle:headers():get("content-length") or "")
  if length and length > LARGEST_REPLY then return end
  local body = handle:body(true)
  local metadata = handle:streamInfo():dynamicMetadata()
  if body:length() == 0 or body:length() > LARGEST_REPLY or metadata:get("kvgate.reply") then return end
  local text = body:getBytes(0, body:length())
  local head = text:match("^(%s*{.*%S)%s*}%s*$")
  if not head then return end
  local upstream_ms = math.max(0, handle:timestamp() - ours.routed_unix_ms)
  local about = string.format(
    '%s,"upstream_latency_ms":%.1f,"latency_ms":%.1f', ours.about, upstream_ms, upstream_ms + ours.spent_ms)
  local usd = cost(ours.prices, metadata:get("kvgate.usage"))
  if usd then about = about .. string.format(',"estimated_cost_usd":%.9g', usd) end
  local whole = head .. ',"kvgate":{' .. about .. "}}"
  body:setBytes(whole)
  handle:headers():replace("content-length", tostring(#whole))
end

function envoy_on_response(handle)
  local ours = handle:streamInfo():dynamicMetadata():get("kvgate")
  if not ours or not (ours.hide_usage or ours.about) then return end
  local status, kind = handle:headers():get(":status"), handle:headers():get("content-type") or ""
  if status ~= "200" or handle:headers():get("content-encoding") then return end
  if ours.hide_usage and kind:find("text/event-stream", 1, true) then
    hide_usage(handle)
  elseif ours.about and (kind == "application/json" or kind:find("^application/json *;")) then
    add_about(handle, ours)
  end
end
