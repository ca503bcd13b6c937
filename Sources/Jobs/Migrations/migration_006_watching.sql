-- The latest failures are what people look for, among millions that succeeded.
CREATE INDEX archive_failed ON larder.archive (id) WHERE state = 'failed';
