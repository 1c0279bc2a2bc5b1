"""What operators see of the gateway and change in it: the parts behind the admin API."""
