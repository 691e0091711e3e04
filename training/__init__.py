"""How recipes are carried out: the loop, many seeds at once. Begin at `training.train`."""
