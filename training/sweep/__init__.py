"""Many recipes, on one machine or a cluster. A sweep is jobs, and its state is the run folders'."""
