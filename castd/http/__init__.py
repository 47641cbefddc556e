"""One HTTP/1.x connection: heads in, small replies out, routes between them."""
