"""Distance attention: ``reference`` is the specification, the other modules are the ways of computing it faster."""
