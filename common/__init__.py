"""What the API and the workers share: the contract, the states, the ledger and its events.

Knows neither Flask nor Docker nor NVML.
"""
