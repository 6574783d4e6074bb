-- The model by which requests are served for which too little of a budget is left. Null refuses them.
ALTER TABLE budgets ADD COLUMN downgrade_to VARCHAR(255);
