"""Sends three events to /track and two to /import with PyPI's mixpanel: URL TIME."""

import sys

import mixpanel

url, time = sys.argv[1], int(sys.argv[2])
urls = {"events_url": f"{url}/track", "import_url": f"{url}/import", "people_url": f"{url}/engage"}
account = mixpanel.ServiceAccountCredentials(username="user", secret="secret", project_id="1")

sdk = mixpanel.Mixpanel("token", consumer=mixpanel.Consumer(**urls))
sdk.track("ann", "track", {"plan": "caf\u00e9 & co"})
sdk.import_data(None, "ann", "import with a secret", time, api_secret="secret")
buffered = mixpanel.BufferedConsumer(**urls)
sdk = mixpanel.Mixpanel("token", consumer=buffered)
sdk.track("ann", "buffered 1")
sdk.track("ann", "buffered 2")
buffered.flush()
mixpanel.Mixpanel("token", consumer=mixpanel.Consumer(**urls, credentials=account), credentials=account).import_data(
    None, "ann", "import with an account", time
)
try:
    mixpanel.Mixpanel("token", consumer=mixpanel.Consumer(**urls, retry_limit=0)).people_set("ann", {"plan": "pro"})
except mixpanel.MixpanelException as error:
    print(error)
