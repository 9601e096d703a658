"""`python -m benches doctor`: what this machine is, what would spoil a measurement on it, and what to do.

probe (asks the machine) → facts (plain data, all optional) → rules (facts to findings) → show (text or JSON).
"""
