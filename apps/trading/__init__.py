"""From a decision to a closed trade: accounts, risk, the desk, orders, fills, positions."""
