"""A server that speaks S3 and checks signatures; writes where it is and who may come to a file."""

import os
import sys
import threading

# The three calls below make somebody; from then on nothing is done for anybody else.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "3"

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
endpoint = "http://%s:%d" % server.get_host_and_port()
iam = boto3.client(
    "iam", "us-east-1", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x"
)
iam.create_user(UserName="larder")
everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
iam.put_user_policy(UserName="larder", PolicyName="all", PolicyDocument=everything)
key = iam.create_access_key(UserName="larder")["AccessKey"]
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"export AWS_ENDPOINT_URL={endpoint}\n")
    file.write(f"export AWS_ACCESS_KEY_ID={key['AccessKeyId']}\n")
    file.write(f"export AWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n")
os.rename(sys.argv[1] + ".new", sys.argv[1])
threading.Event().wait()
