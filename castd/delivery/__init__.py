"""Mount to listener: the pump and the listeners it serves."""
