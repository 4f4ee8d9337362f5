"""How a study runs: problems, sweeps, storage, statistics, verdicts, figures, report."""
