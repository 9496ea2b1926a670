"""AWS on a laptop: moto's API in front of real Docker hosts and a real haproxy."""
