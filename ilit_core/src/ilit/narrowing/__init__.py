"""From what an adapter offers to what model, plugins and configuration allow: the search space."""
