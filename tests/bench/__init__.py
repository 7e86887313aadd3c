"""Speed and quality as ratios, each measured beside what it is compared with. `make bench` runs it."""
