-- $1 parents, $2 children.
INSERT INTO larder.dependencies (parent_id, child_id)
SELECT * FROM unnest($1::bigint[], $2::bigint[])
