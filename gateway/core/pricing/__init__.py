"""Money, decided: prices, charges, bounds, budgets and their calendar."""
