-- The version of the product that a plan's calls go to; empty: as the product splits its traffic.
ALTER TABLE plan ADD COLUMN pin TEXT NOT NULL DEFAULT '';
ALTER TABLE plan_version ADD COLUMN pin TEXT NOT NULL DEFAULT '';
