-- Of functions that had other arguments before the first release: beside their successors, a name alone (as in a GRANT)
-- would mean nothing.
DROP FUNCTION IF EXISTS cancel_v1(text, uuid, uuid, text);
DROP FUNCTION IF EXISTS claim_v1(json, double precision, text);
DROP FUNCTION IF EXISTS claim_v1(uuid[], uuid[], uuid[], bigint[], double precision, text);
DROP FUNCTION IF EXISTS expired_v1(int);
DROP FUNCTION IF EXISTS index_chunk_v1(json, boolean, bigint);
DROP FUNCTION IF EXISTS release_v1(json, boolean, int, int, text);
