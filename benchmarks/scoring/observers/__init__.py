"""From frames to features, by the networks of `nets` or by what is known of drawn puppets."""
