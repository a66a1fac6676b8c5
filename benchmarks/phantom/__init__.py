"""Made-up chest X-rays and made-up patients, so that everything can be shown without anybody's data."""
