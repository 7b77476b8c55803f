-- What the clock decides of a living attempt, and what is told of one after it was taken back.
ALTER TABLE leases ADD COLUMN ending text CHECK (ending IN ('run-timeout', 'cancelled'));
ALTER TABLE attempts ADD COLUMN reported boolean NOT NULL DEFAULT false;
ALTER TABLE attempts ADD COLUMN late text;
ALTER TABLE attempts ADD COLUMN late_at timestamptz;
COMMENT ON COLUMN leases.ending IS 'Why a timer ended it: it is not renewed any more; null: it lives on.';
COMMENT ON COLUMN attempts.reported IS 'Its runner told its end in time; false: it was taken back.';
COMMENT ON COLUMN attempts.late IS 'What its runner told after it was taken back: refused, without effect.';
COMMENT ON COLUMN attempts.late_at IS 'When that came; null: nothing did.';
COMMENT ON COLUMN timers.token IS 'Attempt that a run or grace timer belongs to; null for the others.';
