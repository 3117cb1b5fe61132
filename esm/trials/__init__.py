"""Really training on a target: plan, costs, runs, ledger, kept models, results."""
