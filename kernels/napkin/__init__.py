"""The napkin math of training: how long, how much memory on each GPU, how much traffic. Pure functions of sizes; SI units."""
