"""Events: what makes one valid, brings it into form and gives it an id."""
