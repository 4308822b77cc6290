"""The decisions about money: prices, charges, bounds, budgets and their calendar."""
