ALTER TABLE budgets DROP COLUMN downgrade_to;
