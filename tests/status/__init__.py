"""Tests of `roujiamo status`, `cancel` and `logs`."""
