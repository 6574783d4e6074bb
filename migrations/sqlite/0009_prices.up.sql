-- Prices by the length of the prompt and by the tier of service, of audio and pictures, of requests and searches: a JSON object with the
-- names of published price lists.
ALTER TABLE prices ADD COLUMN more TEXT CHECK (more IS NULL OR json_valid(more));
