print("queuepool")
