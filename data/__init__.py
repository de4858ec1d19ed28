"""Where data come from: phantoms made here, public data sets fetched by `fetch`."""
