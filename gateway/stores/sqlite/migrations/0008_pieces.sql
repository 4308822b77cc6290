-- How many pieces of an order are bought each by itself (the exchange's legs). Of a process that was killed nobody
-- knows its attempts: tasks that are fewer than the pieces do not tell all that may have been bought.

ALTER TABLE intents ADD COLUMN pieces INTEGER NOT NULL DEFAULT 1 CHECK (pieces >= 1);
