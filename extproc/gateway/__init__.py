"""The request path: from what Envoy says of a request to what it should do with it."""
