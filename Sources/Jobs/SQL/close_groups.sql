-- For finishers that died between their commit and close_group.
SELECT larder.close_group(id) AS closed FROM larder.groups WHERE state = 'open'
