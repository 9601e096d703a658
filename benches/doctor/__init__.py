"""`python -m benches doctor`: describe this machine, list what would disturb measurements on it, and suggest remedies.

probe (asks the machine) → facts (plain data, all optional) → rules (facts to findings) → show (text or JSON).
"""
