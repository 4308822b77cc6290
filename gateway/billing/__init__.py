"""What requests cost, kept and told: budgets, the ledger's service, alerts, usage reports, balances."""
