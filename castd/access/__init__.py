"""May this client do this? Credentials now; limits, bans and proxies later."""
