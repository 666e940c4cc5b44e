"""The console command of Waystation, and nothing else."""
