"""How long a point takes: warm-up, method, blocks of samples, interval, throttling, physics. `measure` is the way in."""
