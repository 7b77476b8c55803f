-- Attempts that must be dead before their lease ends, by a guard that keeps to it without an answer (protocol §4).
ALTER TABLE leases ADD COLUMN lasts double precision;
COMMENT ON COLUMN leases.lasts IS 'Seconds that each lease of an exclusive attempt lasts; null: as those of all others.';
