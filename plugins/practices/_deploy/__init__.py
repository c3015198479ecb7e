"""How a deploy run is put together from what its model declares."""
