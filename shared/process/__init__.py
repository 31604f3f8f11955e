"""What every process needs: tasks, log, limits."""
