"""Steps in pods: ``run`` is the way in; a launch is kept in the store, planned from the spec, watched and judged."""
