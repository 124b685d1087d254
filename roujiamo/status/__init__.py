"""`roujiamo status`, `roujiamo cancel` and `roujiamo logs`: the user's sessions, looked at from outside."""
