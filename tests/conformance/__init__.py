"""What a framework may expect of any Mesos master: the same assertions for the local cluster and for a real one.

Run by pytest. Written against the documented v1 scheduler API, operator API and read endpoints of Mesos 1.11, with
http.client and nothing of the product. The masters: a local cluster that the tests start, and the one that
ROUJIAMO_TEST_MASTER (host:port) names, with ROUJIAMO_TEST_PRINCIPAL and ROUJIAMO_TEST_SECRET where it asks for
credentials. What one of them cannot be made to show is skipped, and says why.
"""
