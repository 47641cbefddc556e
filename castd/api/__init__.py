"""castd's own API, /api/v1/: typed JSON, described by the OpenAPI document that is made of these modules."""
