"""Ring to segments: each mount's audio cut into files, once for everybody who plays it by HLS or DASH."""
