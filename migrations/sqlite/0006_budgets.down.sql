DROP TABLE budget_sums;
DROP TABLE budgets;
DELETE FROM config_removed WHERE object = 'budget';
