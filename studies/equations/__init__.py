"""Random equations for the Triton einsum."""
